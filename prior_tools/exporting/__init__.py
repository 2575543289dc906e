"""Generated images with label files, written as a dataset in a form that others read.

items        the images of a folder, each with its split and its numbers
choosing     which of them obey their label maps well enough, by scores of `evaluate`
classes      class ids of the label maps' palette -> those of the form
fitting      a label map at its image's size, without what its image does not show
pictures     an image's file, as it is or anew
forms/       where a dataset of a form has its files, and what is in them
journal      what an export is, and what of it is done
writing      trees of files and shards, piece by piece
provenance   what generated the images
card         README.md and dataset.json
"""
