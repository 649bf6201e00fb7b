"""Picture files taken apart: what each format's file holds, byte by byte and tag by tag."""
