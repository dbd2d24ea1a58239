"""The documents, and the program that keeps their tables true."""
