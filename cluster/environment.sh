# For machines that cluster/on-premise.yaml sets up: sourced by its commands and by ~/.bashrc.
export PATH="$HOME/tuner/venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/tuner/secrets/ray_auth_token" RAY_USAGE_STATS_ENABLED=0
export TUNER_ADDRESS=auto
export TUNER_REDIS=redis://127.0.0.1:6379 TUNER_REDIS_PASSWORD_FILE="$HOME/tuner/secrets/redis_password"
# The same NFS at the same path on all machines.
export TUNER_STORAGE=/shared/checkpoints TUNER_DATA_DIR=/shared/data
