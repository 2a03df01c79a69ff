"""The EDPS workflow of SOXS: `edps -w soxs.soxs_wkf`."""
