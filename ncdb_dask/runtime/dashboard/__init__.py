"""The page ``/ncdb`` on the scheduler's dashboard: what the runs tell, kept on the scheduler and shown in a browser."""
