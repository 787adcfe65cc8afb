"""The machine's GPUs: which there are, what their drivers report, and which ones a user means.

`Devices` in `driver` is the port: it reads all GPUs at once as `Gpu` records. `nvml` (with
`nvml_device`) and `amd` implement it, each by its vendor's library, which is imported only when
GPUs are read. `detection` takes the driver that answers. `selection` turns the names that users
write into the keys of leases. `environ` tells a job its GPUs.

To add a vendor: implement the port (`driver`) in a module of its own, beside `nvml` and `amd`;
let `detection` try it; let `selection` find its GPUs, as `hip` does for AMD.

What holds: reading takes no lease and changes nothing. A GPU that fails has a `fault` and doesn't
hide the others. Unknown values are None. A whole GPU that MIG has cut appears as its slices only.

`records` and `ids` are pure. Begin with `records`.
"""
