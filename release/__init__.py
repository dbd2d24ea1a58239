"""What a release is made of: manual pages and completions from the commands, sdist and wheel, the Debian package."""
