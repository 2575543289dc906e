"""Colors and names of the classes of common datasets: facts, kept apart from the code.

Where a dataset gives two classes one color, so does its table.
"""

# The 150 scene-parsing classes of ADE20K in order: name, then its usual color as r,g,b.
ADE20K = """
wall: 120 120 120
building: 180 120 120
sky: 6 230 230
floor: 80 50 50
tree: 4 200 3
ceiling: 120 120 80
road: 140 140 140
bed: 204 5 255
windowpane: 230 230 230
grass: 4 250 7
cabinet: 224 5 255
sidewalk: 235 255 7
person: 150 5 61
earth: 120 120 70
door: 8 255 51
table: 255 6 82
mountain: 143 255 140
plant: 204 255 4
curtain: 255 51 7
chair: 204 70 3
car: 0 102 200
water: 61 230 250
painting: 255 6 51
sofa: 11 102 255
shelf: 255 7 71
house: 255 9 224
sea: 9 7 230
mirror: 220 220 220
rug: 255 9 92
field: 112 9 255
armchair: 8 255 214
seat: 7 255 224
fence: 255 184 6
desk: 10 255 71
rock: 255 41 10
wardrobe: 7 255 255
lamp: 224 255 8
bathtub: 102 8 255
railing: 255 61 6
cushion: 255 194 7
base: 255 122 8
box: 0 255 20
column: 255 8 41
signboard: 255 5 153
chest of drawers: 6 51 255
counter: 235 12 255
sand: 160 150 20
sink: 0 163 255
skyscraper: 140 140 140
fireplace: 250 10 15
refrigerator: 20 255 0
grandstand: 31 255 0
path: 255 31 0
stairs: 255 224 0
runway: 153 255 0
case: 0 0 255
pool table: 255 71 0
pillow: 0 235 255
screen door: 0 173 255
stairway: 31 0 255
river: 11 200 200
bridge: 255 82 0
bookcase: 0 255 245
blind: 0 61 255
coffee table: 0 255 112
toilet: 0 255 133
flower: 255 0 0
book: 255 163 0
hill: 255 102 0
bench: 194 255 0
countertop: 0 143 255
stove: 51 255 0
palm: 0 82 255
kitchen island: 0 255 41
computer: 0 255 173
swivel chair: 10 0 255
boat: 173 255 0
bar: 0 255 153
arcade machine: 255 92 0
hovel: 255 0 255
bus: 255 0 245
towel: 255 0 102
light: 255 173 0
truck: 255 0 20
tower: 255 184 184
chandelier: 0 31 255
awning: 0 255 61
streetlight: 0 71 255
booth: 255 0 204
television receiver: 0 255 194
airplane: 0 255 82
dirt track: 0 10 255
apparel: 0 112 255
pole: 51 0 255
land: 0 194 255
bannister: 0 122 255
escalator: 0 255 163
ottoman: 255 153 0
bottle: 0 255 10
buffet: 255 112 0
poster: 143 255 0
stage: 82 0 255
van: 163 255 0
ship: 255 235 0
fountain: 8 184 170
conveyer belt: 133 0 255
canopy: 0 255 92
washer: 184 0 255
plaything: 255 0 31
swimming pool: 0 184 255
stool: 0 214 255
barrel: 255 0 112
basket: 92 255 0
waterfall: 0 224 255
tent: 112 224 255
bag: 70 184 160
minibike: 163 0 255
cradle: 153 0 255
oven: 71 255 0
ball: 255 0 163
food: 255 204 0
step: 255 0 143
tank: 0 255 235
trade name: 133 255 0
microwave: 255 0 235
pot: 245 0 255
animal: 255 0 122
bicycle: 255 245 0
lake: 10 190 212
dishwasher: 214 255 0
screen: 0 204 255
blanket: 20 0 255
sculpture: 255 255 0
hood: 0 153 255
sconce: 0 41 255
vase: 0 255 204
traffic light: 41 0 255
tray: 41 255 0
ashcan: 173 0 255
fan: 0 245 255
pier: 71 0 255
crt screen: 122 0 255
plate: 0 255 184
monitor: 0 92 255
bulletin board: 184 255 0
shower: 0 133 255
radiator: 255 214 0
glass: 25 194 194
clock: 102 255 0
flag: 92 0 255
"""

# Cityscapes: the labels in the order of their ids. Licence plates have the color of cars and no id.
CITYSCAPES = """
unlabeled: 0 0 0
ego vehicle: 0 0 0
rectification border: 0 0 0
out of roi: 0 0 0
static: 0 0 0
dynamic: 111 74 0
ground: 81 0 81
road: 128 64 128
sidewalk: 244 35 232
parking: 250 170 160
rail track: 230 150 140
building: 70 70 70
wall: 102 102 156
fence: 190 153 153
guard rail: 180 165 180
bridge: 150 100 100
tunnel: 150 120 90
pole: 153 153 153
polegroup: 153 153 153
traffic light: 250 170 30
traffic sign: 220 220 0
vegetation: 107 142 35
terrain: 152 251 152
sky: 70 130 180
person: 220 20 60
rider: 255 0 0
car: 0 0 142
truck: 0 0 70
bus: 0 60 100
caravan: 0 0 90
trailer: 0 0 110
train: 0 80 100
motorcycle: 0 0 230
bicycle: 119 11 32
"""
# The labels that are evaluated, in the order of their trainIds; BDD100K has the same trainIds.
CITYSCAPES_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# CamVid in the 12-class version of SegNet; class 11 is unlabelled.
CAMVID = """
sky: 128 128 128
building: 128 0 0
pole: 192 192 128
road: 128 64 128
pavement: 0 0 192
tree: 128 128 0
sign: 192 128 128
fence: 64 64 128
car: 64 0 128
pedestrian: 64 64 0
bicyclist: 0 128 192
unlabelled: 0 0 0
"""

# CamVid with its 32 classes in the order of its own list, by which tools number them.
CAMVID_32 = """
animal: 64 128 64
archway: 192 0 128
bicyclist: 0 128 192
bridge: 0 128 64
building: 128 0 0
car: 64 0 128
cart luggage pram: 64 0 192
child: 192 128 64
column pole: 192 192 128
fence: 64 64 128
lane markings drivable: 128 0 192
lane markings non-drivable: 192 0 64
misc text: 128 128 64
motorcycle scooter: 192 0 192
other moving: 128 64 64
parking block: 64 192 128
pedestrian: 64 64 0
road: 128 64 128
road shoulder: 128 128 192
sidewalk: 0 0 192
sign symbol: 192 128 128
sky: 128 128 128
suv pickup truck: 64 128 192
traffic cone: 0 0 64
traffic light: 0 64 64
train: 192 64 128
tree: 128 128 0
truck bus: 192 128 192
tunnel: 64 0 64
vegetation misc: 192 192 0
void: 0 0 0
wall: 64 192 0
"""

# Mapillary Vistas 1.2: the classes in the order of its configuration, which is that of their ids.
MAPILLARY_VISTAS = """
bird: 165 42 42
ground animal: 0 192 0
curb: 196 196 196
fence: 190 153 153
guard rail: 180 165 180
barrier: 90 120 150
wall: 102 102 156
bike lane: 128 64 255
crosswalk - plain: 140 140 200
curb cut: 170 170 170
parking: 250 170 160
pedestrian area: 96 96 96
rail track: 230 150 140
road: 128 64 128
service lane: 110 110 110
sidewalk: 244 35 232
bridge: 150 100 100
building: 70 70 70
tunnel: 150 120 90
person: 220 20 60
bicyclist: 255 0 0
motorcyclist: 255 0 100
other rider: 255 0 200
lane marking - crosswalk: 200 128 128
lane marking - general: 255 255 255
mountain: 64 170 64
sand: 230 160 50
sky: 70 130 180
snow: 190 255 255
terrain: 152 251 152
vegetation: 107 142 35
water: 0 170 30
banner: 255 255 128
bench: 250 0 30
bike rack: 100 140 180
billboard: 220 220 220
catch basin: 220 128 128
cctv camera: 222 40 40
fire hydrant: 100 170 30
junction box: 40 40 40
mailbox: 33 33 33
manhole: 100 128 160
phone booth: 142 0 0
pothole: 70 100 150
street light: 210 170 100
pole: 153 153 153
traffic sign frame: 128 128 128
utility pole: 0 0 80
traffic light: 250 170 30
traffic sign (back): 192 192 192
traffic sign (front): 220 220 0
trash can: 140 140 20
bicycle: 119 11 32
boat: 150 0 255
bus: 0 60 100
car: 0 0 142
caravan: 0 0 90
motorcycle: 0 0 230
on rails: 0 80 100
other vehicle: 128 64 64
trailer: 0 0 110
truck: 0 0 70
wheeled slow: 0 0 192
car mount: 32 32 32
ego vehicle: 120 10 10
unlabeled: 0 0 0
"""

# PASCAL VOC, in the order of the ids; colors are dealt by their bits.
PASCAL_VOC = """
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog,
horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
"""

# COCO-Stuff: the 171 classes in use, in the order of their ids. Pixel maps count from 0, and the
# 11 ids below, of classes that were taken out of COCO, never occur.
COCO_STUFF_UNUSED_IDS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
COCO_STUFF = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra,
giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork,
knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut,
cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard,
cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage,
cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard,
curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile,
floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill,
house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement,
pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof,
rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
window-other, wood
"""
