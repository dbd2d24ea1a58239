"""Records for people: tables, printk lines, JSON, HTML, Perfetto."""
