"""What benchmarks/gpu.py is made of: models of full size without weights, clocks, phases."""
