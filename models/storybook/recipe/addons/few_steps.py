"""Four steps instead of twelve, as a LoRA: latent consistency distillation (Luo et al. 2023, LCM-LoRA)."""

from pathlib import Path

import torch
from torch import Tensor

from recipe.addons.data import Lessons, drawn_for
from recipe.addons.low_rank import Adapted, LowRank, save_adapter
from recipe.addons.settings import Addons
from recipe.diffusion import GUIDANCE, NOISE_STEPS, kept_shares
from recipe.settings import Settings
from recipe.training import Training, autocast, train

TEACHER_STEPS = 50  # as diffusers' LCMScheduler counts them
SIGMA_DATA, TIME_SCALE = 0.5, 10.0
HUBER = 0.001
EMA = 0.995


def found_picture(answer: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
    """The clean latents behind noisy ones, where the network found their noise."""
    share = kept_shares().to(noisy.device)[times][:, None, None, None]
    return (noisy - (1 - share).sqrt() * answer) / share.sqrt()


def consistent(answer: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
    """The consistency function: what the network found, and at the very end the latents themselves."""
    scaled = (times * TIME_SCALE)[:, None, None, None]
    whole = scaled.pow(2) + SIGMA_DATA**2
    return SIGMA_DATA**2 / whole * noisy + scaled / whole.sqrt() * found_picture(answer, noisy, times)


def one_step(answer: Tensor, noisy: Tensor, times: Tensor, earlier: Tensor) -> Tensor:
    """Noisy latents one step of DDIM nearer to the picture."""
    share = kept_shares().to(noisy.device)[earlier][:, None, None, None]
    return share.sqrt() * found_picture(answer, noisy, times) + (1 - share).sqrt() * answer


def train_few_steps(work: Path, file: Path, lessons: Lessons, settings: Settings, addons: Addons) -> None:
    """Train the LoRA to find from every noise level what the guided model finds step by step, and save it."""
    torch.manual_seed(0)
    teacher = lessons.model.unet
    adapter = LowRank(teacher, addons.rank).to(settings.device)
    student, stride = Adapted(teacher, adapter), NOISE_STEPS // TEACHER_STEPS

    @torch.no_grad()
    def taught(noisy: Tensor, times: Tensor, earlier: Tensor, texts: Tensor, unsaid: Tensor) -> Tensor:
        """What the student should find: what it finds itself where the teacher's next step leads."""
        both = teacher(torch.cat([noisy, noisy]), torch.cat([times, times]), torch.cat([unsaid, texts])).sample.float()
        without, told = both.chunk(2)
        nearer = one_step(without + GUIDANCE * (told - without), noisy, times, earlier)
        return consistent(student(nearer, earlier, texts).sample.float(), nearer, earlier)

    def loss(step: int) -> Tensor:
        drawn = drawn_for(step, addons.few_batch, lessons)
        clean, count, device = lessons.scaled_latents(drawn.pictures, settings), len(drawn.ids), drawn.ids.device
        place = torch.randint(1, TEACHER_STEPS, (count,), generator=drawn.generator, device=device)
        times, earlier = (place + 1) * stride - 1, place * stride - 1
        share = kept_shares().to(device)[times][:, None, None, None]
        noise = torch.randn(clean.shape, generator=drawn.generator, device=device)
        noisy = (share.sqrt() * clean + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        texts, unsaid = lessons.text(drawn.ids), lessons.text(lessons.nothing).expand(count, -1, -1)
        with autocast(settings):
            wanted = taught(noisy, times, earlier, texts, unsaid)
            found = consistent(student(noisy, times, texts).sample.float(), noisy, times)
        return ((found - wanted).pow(2) + HUBER**2).sqrt().mean() - HUBER

    averaged = train(Training("few-steps", adapter, loss, addons.few_steps, addons.few_rate, EMA), work)
    save_adapter(averaged, file, **{"modelspec.title": "lcm", "modelspec.license": "apache-2.0"})
