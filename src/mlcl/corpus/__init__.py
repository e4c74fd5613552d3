"""Sources in, a corpus on disk out: cleaning, deduplication, decontamination, and the store that training reads."""
