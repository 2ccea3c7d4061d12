"""How each kind of object is drawn: three drawings a kind, each in any colour."""

from recipe.drawings.balloons import BALLOONS
from recipe.drawings.boats import BOATS
from recipe.drawings.castles import CASTLES
from recipe.drawings.cats import CATS
from recipe.drawings.houses import HOUSES
from recipe.drawings.trees import TREES

DRAWN_BY = {"house": HOUSES, "castle": CASTLES, "tree": TREES, "boat": BOATS, "balloon": BALLOONS, "cat": CATS}
HALF_WIDTH = {"house": 0.56, "castle": 0.54, "tree": 0.42, "boat": 0.56, "balloon": 0.38, "cat": 0.46}
