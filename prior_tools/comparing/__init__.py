"""The stock start and the prior's on the same label maps and seeds, for `compare`.

choice        which label maps
starts        a workflow as it is, and with the stock start
gains         what each label map gained
strips        pictures of a label map beside each other, and the contact sheet
verdicts      the table of figures, and what it says in words
page          the report, one HTML file
"""
