#!/usr/bin/env bash
# check.sh VENV: an environment with pleinair alone paints and measures, offline, and holds nothing of the export stage.
set -euo pipefail
bin=$(cd "$1/bin" && pwd)
cd "$(mktemp -d)"
for heavy in torch diffusers transformers onnx nncf; do
  if "$bin/python" -c "import $heavy" 2>/dev/null; then
    echo "the runtime environment holds $heavy" >&2
    exit 1
  fi
done
# a network namespace of its own has no way out; where the system gives none, this fails rather than check less
unshare --net --map-root-user "$bin/pleinair" generate "a red house on a snowy hill at night" --seed 7 -o house.png --json >report.json
"$bin/python" - <<'PYTHON'
import json
from PIL import Image, ImageStat

report = json.load(open("report.json"))
assert report["images"][0]["path"] == "house.png" and not report["warnings"], report
picture = Image.open("house.png")
assert picture.size == (report["images"][0]["width"], report["images"][0]["height"])
assert min(ImageStat.Stat(picture.convert("RGB")).stddev) > 10, "the picture is nearly empty"
print("painted", picture.size, "in", report["timings"]["total_s"], "s")
PYTHON
# the add-ons lie in the wheel, too
unshare --net --map-root-user "$bin/pleinair" generate "a blue house in the desert at sunset <lora:storybook-lcm>" \
  --lora storybook-chalk:0.5 --control storybook-edges:house.png:canny --vae storybook-tiny --seed 3 -o addons.png
"$bin/pleinair" models
# what a program of somebody's own needs, in a Python that sees no other package
"$bin/pleinair" embed painting --json >embedded.json
env -i unshare --net --map-root-user "$bin/python" -I -S -c '
import sys
sys.path.append("painting")
import pleinair
print("painted", pleinair.load().generate("a red house", seed=7, steps=1).images[0].size, "with the folder alone")'
unshare --net --map-root-user "$bin/pleinair" bench run --model storybook --work vae_decoder,cold --rounds 1 -o json >bench.json
"$bin/python" - <<'PYTHON'
import json

records = json.load(open("bench.json"))
assert records and all(record["status"] == "ok" for record in records), records
print("measured", len(records), "cases")
PYTHON
du -sm "$bin/.." | awk '{print "installed size", $1, "MB"}'
