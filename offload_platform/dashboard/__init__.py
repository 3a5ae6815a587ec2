"""The dashboard: pages over the published file, for people who look instead of asking in SQL.

`app.py` is the script that Streamlit runs, `pages/` has one script for each page, and `tiles/<page>/<tile>.sql` the one
statement of each tile, over documented tables. What is no question to DuckDB and no picture does not belong here. The
modules that a command needs import no Streamlit: it is an extra.
"""
