"""`report.html`: one self-contained page that shows what was learned from what, and how good it is.

One module per section; `page.py` puts them together. Figures are plain Plotly JSON, drawn by `page.js`.
"""
