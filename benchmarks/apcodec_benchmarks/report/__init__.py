"""What people see of results: tables, plots, and a page to listen to."""
