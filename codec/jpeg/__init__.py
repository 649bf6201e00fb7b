"""JPEG files: their scans taken apart into coefficients, and put back byte for byte; the coefficients coded."""
