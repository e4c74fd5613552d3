"""What people read: HTML pages, plots, model cards. Plain values in, text and figures out."""
