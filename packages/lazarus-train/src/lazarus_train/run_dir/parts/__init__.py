"""Parts of the page of a run, and the logs that they show."""
