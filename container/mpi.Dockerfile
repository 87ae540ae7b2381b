# MPI on top of the training image: `container/build.sh --mpi` builds both.
#
#   IMAGE   the training image

ARG IMAGE
FROM ${IMAGE}

# mpirun of the first host starts processes on the others by ssh, as root, with a key that all containers of this image
# have. The toolkit starts sshd in jobs that ask for MPI, and only there.
RUN set -eux; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        openmpi-bin openssh-client openssh-server; \
    rm -rf /var/lib/apt/lists/*; \
    mkdir -p /run/sshd /root/.ssh; \
    ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; \
    cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys; \
    printf '%s\n' 'StrictHostKeyChecking no' 'LogLevel ERROR' >/etc/ssh/ssh_config.d/mpi.conf; \
    printf '%s\n' 'AllowUsers root' 'PasswordAuthentication no' 'DisableForwarding yes' >/etc/ssh/sshd_config.d/mpi.conf; \
    sed -i 's/required *pam_loginuid.so/optional pam_loginuid.so/' /etc/pam.d/sshd; \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +

COPY container/requirements-mpi.txt /tmp/lock/
RUN pip install --require-hashes --no-deps --no-cache-dir --root-user-action ignore \
        --disable-pip-version-check --requirement /tmp/lock/requirements-mpi.txt

# whether this image can run scripts by MPI
ENV TRAIN_MPI=yes
