# An AMI of a pool's machine: Debian 12, stock buildbot-worker, ganger-bootstrap. docs/images.md goes through it.
#
#   packer init images/ganger-worker.pkr.hcl
#   packer build -var region=eu-central-1 -var bootstrap=PATH images/ganger-worker.pkr.hcl

packer {
  required_version = ">= 1.9"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the image is made."
}

variable "bootstrap" {
  type        = string
  description = "The program ganger-bootstrap, as `cargo xtask bootstrap` prints where it is."
}

variable "architecture" {
  type        = string
  default     = "amd64"
  description = "amd64 or arm64, as Debian calls it; the program is of the same."
}

variable "instance_type" {
  type        = string
  default     = "m7i.large"
  description = "What the image is made on: m7g.large for arm64."
}

variable "volume_size" {
  type        = number
  default     = 16
  description = "GiB of the root volume. A pool's machines may have a larger one."
}

variable "packages" {
  type        = list(string)
  default     = []
  description = "What builds need, by Debian's names."
}

variable "regions" {
  type        = list(string)
  default     = []
  description = "Where else the image is copied to."
}

source "amazon-ebs" "worker" {
  region          = var.region
  instance_type   = var.instance_type
  ami_name        = "ganger-worker-{{timestamp}}"
  ami_description = "Worker of a Ganger pool, from {{ .SourceAMIName }}"
  ami_regions     = var.regions
  ssh_username    = "admin"
  encrypt_boot    = true
  imds_support    = "v2.0"

  source_ami_filter {
    # Debian's own account.
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name                = "debian-12-${var.architecture}-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = var.volume_size
    encrypted             = true
    delete_on_termination = true
  }

  run_tags        = { Name = "ganger-worker image" }
  run_volume_tags = { Name = "ganger-worker image" }
  snapshot_tags   = { Name = "ganger-worker" }
  tags = {
    Name   = "ganger-worker"
    source = "{{ .SourceAMIName }}"
  }
}

build {
  sources = ["source.amazon-ebs.worker"]

  # cloud-init is still at it when SSH answers.
  provisioner "shell" {
    inline = [
      "cloud-init status --wait || true",
      "mkdir -p /tmp/image",
    ]
  }

  provisioner "file" {
    source      = "${path.root}/"
    destination = "/tmp/image"
  }

  provisioner "file" {
    source      = var.bootstrap
    destination = "/tmp/image/ganger-bootstrap"
  }

  provisioner "shell" {
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    environment_vars = ["DEBIAN_FRONTEND=noninteractive"]
    inline = [
      "set -e",
      "apt-get -qq -o DPkg::Lock::Timeout=300 update",
      "apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends python3-venv git iproute2 ${join(" ", var.packages)}",
      "sh /tmp/image/provision.sh /tmp/image/ganger-bootstrap",
      "apt-get clean",
      "cloud-init clean --logs",
      "rm -rf /tmp/image /home/admin/.ssh/authorized_keys /root/.ssh/authorized_keys /root/.cache",
    ]
  }
}
