"""What a bus adds to the driver core: matching, and for PCI virtual functions and node code of its own."""
