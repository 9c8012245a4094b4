"""What users of diffusers try, and what to write here instead: one line for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_WINDOWS = "large pictures are restored in windows by themselves; tile= and max_memory= of the call set how large"
_ONE_AT_A_TIME = "pictures are restored one after another unless batch_size= of the call says more"

ATTRIBUTES = {
    "enable_vae_tiling": _WINDOWS,
    "disable_vae_tiling": _WINDOWS,
    "enable_attention_slicing": _WINDOWS,
    "disable_attention_slicing": _WINDOWS,
    "enable_vae_slicing": _ONE_AT_A_TIME,
    "disable_vae_slicing": _ONE_AT_A_TIME,
    "enable_model_cpu_offload": f"the networks take 30 MB, so that nothing would be gained; {_WINDOWS}",
    "enable_sequential_cpu_offload": f"the networks take 30 MB, so that nothing would be gained; {_WINDOWS}",
    "enable_xformers_memory_efficient_attention": "attention is PyTorch's own, which is as efficient",
    "disable_xformers_memory_efficient_attention": "attention is PyTorch's own, which is as efficient",
    "enable_freeu": "there is nothing like it",
    "fuse_qkv_projections": "there is nothing like it; pipe.compile() makes the networks quicker",
    "load_lora_weights": "from_pretrained loads weights that were trained further, as `lightendiff train` does",
    "cuda": 'write pipe.to("cuda")',
    "cpu": 'write pipe.to("cpu")',
    "half": "write pipe.to(torch.float16), or torch.bfloat16",
    "float": "write pipe.to(torch.float32)",
    "bfloat16": "write pipe.to(torch.bfloat16)",
    "eval": "it is in evaluation mode, always",
    "unet": "write pipe.restorer.unet",
    "vae": "write pipe.restorer.model, which is the autoencoder",
    "scheduler": "write pipe.restorer.scheduler",
    "components": "write pipe.restorer, of which they are the modules",
    "parameters": "write pipe.restorer.parameters()",
    "state_dict": "write pipe.restorer.state_dict()",
}
LOADING = {
    "revision": 'write "owner/name@revision"',
    "device_map": "write device=",
    "subfolder": "give the folder's own path",
    "variant": "write dtype=, for the precision that the networks run in",
    "use_safetensors": "weights are read safely, always",
    "safety_checker": "there is none",
    "trust_remote_code": "no code is loaded with weights",
    "local_files_only": "set HF_HUB_OFFLINE=1 in the environment",
    "cache_dir": "set HF_HOME in the environment",
    "token": "set HF_TOKEN in the environment",
    "scheduler": "assign pipe.restorer.scheduler",
}
CALLING = {
    "steps": "write num_inference_steps=",
    "callback_on_step_end": "write callback=, a function of (step index, timestep, estimate), or progress=",
    "callback_steps": "callback= is called after each step",
    "guidance_scale": "there is no guidance; write strength= or exposure=",
    "prompt": "a dark picture is all that is given",
    "num_images_per_prompt": "give a list, and exposure= or generator= of its length",
    "output_type": "what comes in is what comes out: give an array, a tensor or a PIL image",
    "return_dict": "the picture itself is returned",
    "height": "the picture keeps its size",
    "width": "the picture keeps its size",
    "timesteps": "write num_inference_steps= and start_timestep=",
}


def unexpected(function: str, names: Iterable[str], known: Mapping[str, str]) -> TypeError:
    """The error for arguments that a function doesn't have, with what to write instead of the first one."""
    name = next(iter(names))
    hint = f": {known[name]}" if name in known else ""
    return TypeError(f"{function} got an unexpected argument {name!r}{hint}")
