"""``verl-nthr heatmap``: token dumps as one HTML page and as summaries."""
