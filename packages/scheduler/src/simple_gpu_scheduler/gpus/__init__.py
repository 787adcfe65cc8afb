"""The machine's GPUs: which there are, what their drivers report, and which ones a user means.

`Devices` in `ports` is the port: it reads all GPUs at once as `Gpu` records. `nvml` (with
`nvml_device`) and `amd` implement it, each by its vendor's library, which is imported only when
GPUs are read. `detection` takes the driver that answers. `selection` turns the names that users
write into the keys of leases. `environ` tells a job its GPUs.

To add a vendor, follow `amd`:
- `vendor` recognises the machine, and says which vendor goes first.
- A module implements the port, and `detection` tries it. tests/gpus/test_ports.py tests the port.
- `selection` finds the GPUs that users name, by a module such as `amd_selection`.
- `environ` names the variables that tell a job its GPUs. `memory.oom` knows its messages.
- `sgs gpus`, `sgs top` and the help of --gpus name the vendors; pyproject.toml has an extra.

What holds: reading takes no lease and changes nothing. A GPU that fails has a `fault` and doesn't
hide the others. Unknown values are None. A whole GPU that MIG has cut appears as its slices only.

`records` and `ids` are pure. Begin with `records`.
"""
