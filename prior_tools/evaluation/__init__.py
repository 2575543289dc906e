"""How good generated images are: FID, KID, mIoU, accuracy and diversity, each with an interval.

Every module works on arrays, so that a script can use it without files; `files` alone reads
pictures. Only a transformers folder needs transformers, which is imported when it is called for,
and nothing here goes to the network.

    features      uint8 images -> Inception features
    frechet       FID from features, and cheaply again for subsets
    kernel        KID from features, and cheaply again for subsets
    segmenters    uint8 images -> class scores
    segmentation  scores and labels -> counts -> mIoU and accuracy
    diversity     distances between the images of one label map
    intervals     bootstrap over label maps, delete-a-group jackknife
    pairing       two folders, equally many images of each label map
    measure       features or counts -> figures with intervals, and their differences
    report        figures -> table and JSON
"""
