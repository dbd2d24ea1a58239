"""Reports of records: tables, printk lines, HTML, pictures, Perfetto. Each module imports its heavy parts when used."""
