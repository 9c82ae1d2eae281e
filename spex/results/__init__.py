"""What a query leaves behind: the extraction, its result folder, and the audit of both."""
