"""From labelled chips to a folder of SPIE records."""
