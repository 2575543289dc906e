"""When and by how much a prior's start helps: the demo's models sampled in ComfyUI, and judged.

python -m demo.ablation [--quick] [--camvid DIR]
"""
