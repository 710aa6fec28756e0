"""From a mathematics data set, on the hub or in local files, to checked parquet files in verl's format."""
