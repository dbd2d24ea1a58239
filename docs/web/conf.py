"""Sphinx's settings. No font, script or picture comes from elsewhere: the site is read without a network, too."""

from numaprobe import __version__

project = "numaprobe"
author = "numaprobe"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 5
suppress_warnings = ["misc.highlighting_failure", "myst.header"]  # traces are no language; some pages skip a level
smartquotes = False  # --option is no dash
html_theme = "furo"
html_title = f"numaprobe {version}"
html_copy_source = False
html_show_search_summary = False  # it would be read with fetch(), which no browser allows for files
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_last_updated_fmt = None
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
