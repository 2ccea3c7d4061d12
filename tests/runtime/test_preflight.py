"""Memory that a job takes, predicted before it is loaded, and what is said where it is not there."""

import subprocess
import sys

import pytest

import pleinair
from bundles import light_upscaler
from pleinair import ResourceError
from pleinair.engines import memory
from pleinair.pictures.upscale import picture_bytes_needed, tile_pixels
from pleinair.preflight import ALL, BASE, NOTHING, STAGES, Need, Preflight, Spared
from pleinair.request.request import resolve
from pleinair.system import limits
from pleinair.system.limits import Room, room_left

PLENTY = 1 << 40


def preflight(pipe, **options):
    painting = pipe._painting(resolve(pipe.bundle, "a boat", seed=1, steps=2, **options))
    return painting.preflight()


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def pipe(request):
    return pleinair.load(engine=request.param, verify=False)


def test_more_pixels_pictures_and_rows_take_more(pipe):
    def taken(**options):
        return preflight(pipe, **options).need(NOTHING).memory

    plain = taken(size="256x256")
    assert BASE < plain < taken(size="512x512") < taken(size="768x768")
    assert taken(size="256x256", two_calls=True) < plain < taken(size="256x256", count=4, batch=4)
    assert taken(size="512x512", vae_tile=256) < taken(size="512x512")
    assert taken(size="256x256", hires=2.0) > plain
    assert preflight(pipe, size="256x256").need(STAGES).memory < plain


def test_memory_is_what_the_stages_cost(pipe):
    job = preflight(pipe, size="256x256")
    text, denoiser, decoder = (stage.uses[0].cost for stage in job._stages)
    kept, low = job.need(NOTHING), job.need(STAGES)
    held = text.held + denoiser.held + decoder.held
    assert kept.memory == BASE + held + denoiser.working + max(text.working, decoder.working)
    assert low.memory == BASE + max(each.held + each.working for each in (text, denoiser, decoder))
    assert kept.address_space > kept.memory


def test_weights_are_counted_as_the_engines_keep_them():
    bundle = pleinair.open_bundle()
    numbers = sum(each.count for each in memory.weights_of(bundle, "unet", "openvino") if each.size == 2)
    assert 10e6 < numbers < 12e6
    wide, narrow = (memory.graph_cost(bundle, "unet", "openvino", kind, 1).held for kind in ("f32", "bf16"))
    assert 1.95 * numbers < wide - narrow < 2.05 * numbers
    assert memory.graph_cost(bundle, "unet", "onnx", "f32", 1).mapped == 0


def test_a_lora_takes_the_weights_that_it_changes_once_more(pipe):
    """SD 1.5 in fp16 on OpenVINO held 6.07 GB with one, and 4.20 without: two bytes for each of 0.98e9 weights."""
    plain, changed = (preflight(pipe, size="256x256", loras=loras) for loras in ([], ["storybook-chalk"]))
    more = changed.need(NOTHING).memory - plain.need(NOTHING).memory
    assert 2 * 10.5e6 < more < 2 * 12.5e6


@pytest.mark.parametrize(
    "made, numbers",
    [
        (3, 16 * (2 * 64 + 9)),  # ESRGAN: its last layer sees the large picture
        (48, 2 * 64 + 3 * 48),  # its compact form: as many channels as the large picture has pixels for each
        (7, 16 * (2 * 64 + 9)),  # neither
    ],
)
def test_what_an_upscaler_works_with_depends_on_where_it_enlarges(tmp_path, monkeypatch, made, numbers):
    bundle = pleinair.open_bundle(light_upscaler(tmp_path / "four", scale=4))
    layers = [memory.KnownWeight(64 * 64 * 9, 2, 64), memory.KnownWeight(made * 64 * 9, 2, made)]
    monkeypatch.setattr(memory, "weights_of", lambda *_: (*layers, memory.KnownWeight(made, 4, made)))
    assert memory.upscaler_numbers(bundle, "upscaler", "openvino") == numbers


def test_pictures_and_tiles_of_an_upscaler_count():
    assert picture_bytes_needed(10, 20, 2) == 12 * (200 + 800) + 3 * 800
    assert picture_bytes_needed(10, 20, 2, count=3) == 12 * 3 * (200 + 2 * 800) + 3 * 3 * 800
    assert tile_pixels(256, 100) == 256 * 100 and tile_pixels(257, 100) == 145 * 100
    assert tile_pixels(256, 100, "x") == 160 * 100 and tile_pixels(100, 256, "y") == 160 * 100


def test_sparing_lets_a_graph_go_that_the_job_does_not_use():
    with pleinair.load(engine="fake") as pipe:
        pipe.generate("a boat", seed=1, steps=1)
        assert pipe.graphs.is_open("unet")
        changed = resolve(pipe.bundle, "a boat", seed=1, steps=1, loras=["storybook-chalk"])
        next(pipe._painting(changed).run(spared=STAGES))
        assert not pipe.graphs.is_open("unet")


@pytest.mark.parametrize("asked, spared", [("auto", NOTHING), ("high", NOTHING), ("low", STAGES)])
def test_where_there_is_room_nothing_is_spared(pipe, asked, spared):
    job = preflight(pipe, guidance=1)
    assert job.choose(asked, Room(PLENTY)) == job.choose(asked, Room(None)) == spared


def test_auto_spares_where_only_that_fits(pipe):
    job = preflight(pipe, size="512x512")
    between = (job.need(NOTHING).memory + job.need(STAGES).memory) / 2
    assert job.choose("auto", Room(int(between - BASE))) == STAGES
    with pytest.raises(ResourceError, match="is free; add --memory low, or continue with --no-preflight") as refused:
        job.choose("high", Room(int(between - BASE)))
    assert refused.value.option == "--memory low" and refused.value.exit_code == 4


def test_large_text_encoders_leave_when_they_have_been_read(pipe, monkeypatch):
    monkeypatch.setattr("pleinair.preflight.LARGE_TEXT", 1.0)
    job = preflight(pipe)
    chosen = job.choose("auto", Room(None))
    assert chosen == Spared(texts=True, ahead=True) and job.choose("high", Room(None)) == NOTHING
    text = job._stages[0]
    more = job.need(NOTHING).memory - job.need(chosen).memory
    assert text.held <= more <= text.held + text.working
    next(pipe._painting(resolve(pipe.bundle, "a boat", seed=1, steps=1, size="64x64")).run(spared=chosen))
    assert pipe.graphs.is_open("unet") and not pipe.graphs.is_open("text_encoder")
    pipe.unload()


@pytest.mark.parametrize("fits", [True, False])
def test_the_denoiser_is_opened_while_texts_are_read_where_both_fit(pipe, monkeypatch, fits):
    monkeypatch.setattr("pleinair.preflight.LARGE_TEXT", 1.0)
    job = preflight(pipe)
    need = sum(stage.held + stage.working for stage in job._stages) if fits else 1.0
    monkeypatch.setattr(Preflight, "need", lambda *_: Need(BASE + need, 1.0))
    spared = next(job.ways("auto"))
    begun = []
    monkeypatch.setattr(pipe.graphs, "prepare_ahead", lambda name, *_: begun.append(name))
    next(pipe._painting(resolve(pipe.bundle, "a boat", seed=1, steps=1, size="64x64")).run(spared=spared))
    assert spared == Spared(texts=True, ahead=fits) and begun == (["unet"] if fits else [])
    pipe.unload()


def test_the_last_job_lets_its_denoiser_go_before_it_decodes(pipe):
    request = resolve(pipe.bundle, "a boat", seed=1, steps=1, size="512x512")
    job, last = (pipe._painting(request).preflight(each) for each in (False, True))
    (way, *_), (less, *_) = job.ways("auto"), last.ways("auto")
    assert (way, less) == (NOTHING, Spared(denoiser=True, ahead=True)) and next(last.ways("high")) == NOTHING
    assert job.need(STAGES).memory <= last.need(less).memory < job.need(way).memory
    assert pipe.memory_needed(request, memory="auto", last=True) == int(last.need(less).memory)
    *_, frame = pipe._painting(request).run(spared=less)
    assert frame.result and not pipe.graphs.is_open("unet") and pipe.graphs.is_open("vae_decoder")
    pipe.unload()


@pytest.mark.parametrize("how", [{"count": 2}, {"hires": 1.5}])
def test_a_denoiser_that_is_asked_again_stays(pipe, how):
    request = resolve(pipe.bundle, "a boat", seed=1, steps=2, **{"size": "256x256", **how})
    assert next(pipe._painting(request).preflight(last=True).ways("auto")) == NOTHING
    together = resolve(pipe.bundle, "a boat", seed=1, steps=1, count=2, batch=2)
    assert next(pipe._painting(together).preflight(last=True).ways("auto")) == Spared(denoiser=True, ahead=True)


def test_guidance_takes_two_calls_where_that_saves(pipe):
    """At this size and with tiles this small the denoiser takes the most."""
    large = {"size": "1024x1024", "vae_tile": 64}
    job, one = preflight(pipe, **large), preflight(pipe, **large, guidance=1)
    assert [*job.ways("low")] == [ALL] and [*one.ways("low")] == [STAGES]
    assert job.need(ALL).memory == one.need(STAGES).memory < job.need(STAGES).memory
    between = (job.need(ALL).memory + job.need(STAGES).memory) / 2 - BASE
    assert job.choose("auto", Room(int(between))) == ALL


def test_two_calls_to_save_memory_are_recorded():
    with pleinair.load(engine="onnx", memory="low", verify=False) as pipe:
        request = resolve(pipe.bundle, "a boat", seed=1, steps=1, size="1024x1024", vae_tile=64)
        painting, spared = pipe._spared(request)
    assert spared.two_calls and painting.request.guidance.two_calls
    assert painting._settings((1,))["two_calls"] is True


def test_what_does_not_fit_is_refused_with_what_would(pipe):
    job = preflight(pipe, size="1024x1024", vae_tile=1024)
    half = preflight(pipe, size="512x512", vae_tile=1024).need(STAGES).memory
    with pytest.raises(
        ResourceError, match=r"choose a smaller --size, 512x512 at most, or continue with --no-preflight"
    ):
        job.choose("auto", Room(int(half - BASE + 1e6)))
    with pytest.raises(ResourceError, match="address space"):
        job.choose("auto", Room(PLENTY, address_space=1 << 20))
    with pytest.raises(ResourceError, match="close other programs"):
        job.choose("auto", Room(0))
    many = preflight(pipe, size="512x512", count=8, batch=8, guidance=1)
    one = preflight(pipe, size="512x512", guidance=1).need(STAGES).memory
    if many.need(STAGES).memory > one + 1e6:
        with pytest.raises(ResourceError, match="add --batch 1"):
            many.choose("auto", Room(int(one - BASE + 1e6)))


def test_what_is_loaded_already_counts_as_there(pipe):
    job = preflight(pipe, size="128x128")
    need = job.need(NOTHING)
    pipe.generate("a boat", seed=1, steps=1, size="128x128")
    loaded = preflight(pipe, size="128x128")
    held = sum(use.cost.held for stage in loaded._stages for use in stage.uses)
    assert all(use.is_open for stage in loaded._stages for use in stage.uses)
    assert loaded.choose("high", Room(int(need.memory - BASE - held) + 1)) == NOTHING
    pipe.unload()


def test_nothing_is_loaded_where_memory_is_short(monkeypatch):
    loaded = []
    monkeypatch.setattr(pleinair.pipeline, "room_left", lambda: Room(1 << 20))
    pipe = pleinair.load(verify=False, engine="openvino", on_load=loaded.append)
    with pytest.raises(
        ResourceError, match="painting 256x256 with 'storybook' takes about 1.. MB of memory, and 5. MB is free; close"
    ):
        pipe.stream("a boat")
    assert loaded == []
    assert pleinair.load(verify=False, preflight=False, engine="onnx").generate("a boat", steps=1, size="64x64").images


def test_engines_of_others_are_not_judged(monkeypatch):
    monkeypatch.setattr(pleinair.pipeline, "room_left", lambda: Room(0))
    assert pleinair.load(engine="fake").generate("a boat", steps=1).images


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v does nothing elsewhere")
def test_a_limit_ends_in_a_sentence_and_exit_code_4(tmp_path):
    command = [sys.executable, "-m", "pleinair", "generate", "a boat", "--size", "2048x2048", "--vae-tile", "0"]
    shell = ["sh", "-c", 'ulimit -v 1500000 && exec "$@"', "sh", *command, "-o", str(tmp_path / "a.png")]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr.startswith("pleinair: painting 2048x2048 with 'storybook' takes about")
    assert not any(tmp_path.iterdir())


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The files that Linux tells of memory in."""
    monkeypatch.setattr(limits, "PROC", tmp_path / "proc")
    monkeypatch.setattr(limits, "GROUPS", tmp_path / "groups")

    def write(**files):
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("DOT", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    write(proc__meminfo="MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n", proc__self__status="VmSize:\t1000 kB\n")
    return write


@pytest.mark.skipif(sys.platform == "win32", reason="files of Linux")
def test_the_least_of_all_limits_counts(system):
    assert room_left() == Room(8_000_000 * 1024)
    stat = "cache 5\nactive_file 1\ninactive_file 1\ntotal_active_file 100\ntotal_inactive_file 50\n"
    system(
        proc__self__cgroup="4:memory:/outer/inner\n0::/\n",
        groups__memory__memoryDOTlimit_in_bytes="9223372036854771712",
        groups__memory__memoryDOTusage_in_bytes="77",
        groups__memory__outer__memoryDOTlimit_in_bytes="5000",
        groups__memory__outer__memoryDOTusage_in_bytes="2000",
        groups__memory__outer__memoryDOTstat=stat,
        groups__memory__outer__inner__memoryDOTlimit_in_bytes="9000",
        groups__memory__outer__inner__memoryDOTusage_in_bytes="100",
    )
    assert room_left() == Room(5000 - 2000 + 150)
    system(
        proc__self__cgroup="0::/elsewhere/unseen\n",
        groups__memoryDOTmax="4000",
        groups__memoryDOTcurrent="1000",
        groups__memoryDOTstat="active_file 10\ninactive_file 20\n",
    )
    assert room_left() == Room(4000 - 1000 + 30)
    system(groups__memoryDOTmax="max")
    assert room_left() == Room(8_000_000 * 1024)
