"""What generated images are worth: one segmentation net, trained with and without them.

`sets` reads images and label maps at one size and `overlap` looks for what training and test share;
`net` and `own_model` are what is trained, `training` trains it, `judging` counts what it gets right
on the held-out images, `run` keeps all of that on disk, `figures` makes figures of the counts, with
intervals over images and seeds, and `report` tables.
"""
