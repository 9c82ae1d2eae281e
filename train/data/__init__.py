"""What training reads: records, crops, conversations, unlabelled pixels, batches."""
