"""The study of wood slices: what its notebook calls, cell by cell, on any folder laid out as one."""

from flows.study.figures import describe_model, leave_one_out, show_figures, tabulate_defects, tabulate_images
from flows.study.folder import from_environment, open_study
from flows.study.naming import hold_out_crops, name_defects, show_crops, tabulate_types
from flows.study.pictures import show_defects, show_images, show_maps, show_outlines, show_tiles
from flows.study.steps import prepare, scan, train_without_labels
from flows.study.tried import try_otherwise

__all__ = [
    "describe_model",
    "from_environment",
    "hold_out_crops",
    "leave_one_out",
    "name_defects",
    "open_study",
    "prepare",
    "scan",
    "show_crops",
    "show_defects",
    "show_figures",
    "show_images",
    "show_maps",
    "show_outlines",
    "show_tiles",
    "tabulate_defects",
    "tabulate_images",
    "tabulate_types",
    "train_without_labels",
    "try_otherwise",
]
