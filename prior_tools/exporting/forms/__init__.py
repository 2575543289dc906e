"""The forms that datasets are written in, a module each."""

from __future__ import annotations

from collections.abc import Mapping

from . import ade20k, cityscapes, coco_panoptic, pairs, voc, webdataset
from .form import Form

FORMS: Mapping[str, Form] = {
    module.FORM.name: module.FORM
    for module in (cityscapes, ade20k, coco_panoptic, voc, pairs, webdataset)
}
