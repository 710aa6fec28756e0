"""Pages, the site and the commands on them."""
