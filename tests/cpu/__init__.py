"""Stock verl, vLLM and Ray on a CPU."""
