"""Room for the FastAGI server and the dialplan applications."""
