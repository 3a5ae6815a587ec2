"""The dashboard: pages over the published file, for people who look instead of asking in SQL.

`app.py` is the script that Streamlit runs, `screens/` has one script for each page (those in a folder `pages/` it
would run by itself, without the filters), and `tiles/<page>/<tile>.sql` the one statement of each tile, over documented
tables. What is no question to DuckDB and no picture does not belong here. `launch.py`, which a command needs, imports
no Streamlit: that is an extra.
"""
