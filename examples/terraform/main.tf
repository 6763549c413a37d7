# What a master needs to have workers on EC2. README.md beside this file says how to use it.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_partition" "here" {}

data "aws_region" "here" {}

data "aws_vpc" "chosen" {
  id      = var.vpc_id
  default = var.vpc_id == null ? true : null
}

data "aws_subnets" "all" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.chosen.id]
  }
}

locals {
  subnet_ids = coalescelist(var.subnet_ids, sort(data.aws_subnets.all.ids))
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

# Workers call the master and what builds download. Nobody calls them.
resource "aws_security_group" "worker" {
  name        = "${var.name}-worker"
  description = "Workers of Ganger: nothing comes in"
  vpc_id      = data.aws_vpc.chosen.id
  tags        = var.tags

  egress {
    description      = "the master, package indexes, repositories"
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

# For the master, where it is on EC2 too: workers connect, and enroll.
resource "aws_security_group" "master" {
  name        = "${var.name}-master"
  description = "The master of Ganger: workers come in"
  vpc_id      = data.aws_vpc.chosen.id
  tags        = var.tags

  dynamic "ingress" {
    for_each = var.master_ports
    content {
      description     = "workers"
      from_port       = ingress.value
      to_port         = ingress.value
      protocol        = "tcp"
      security_groups = [aws_security_group.worker.id]
    }
  }

  egress {
    description      = "EC2, repositories"
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_iam_policy" "master" {
  name        = "${var.name}-master"
  description = "Starts machines with the tags of Ganger, and ends those alone"
  policy = replace(replace(replace(file("${path.module}/../iam-policy.json"),
    "role/ganger-worker*", "role/${aws_iam_role.worker.name}"),
    ":*:ganger*", ":*:${var.name}-*"),
  "arn:aws:", "arn:${data.aws_partition.here.partition}:")
  tags = var.tags
}

# A master on EC2 has this role; one elsewhere has a user or a role of its own with the policy.
resource "aws_iam_role" "master" {
  name               = "${var.name}-master"
  assume_role_policy = local.trust
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "master" {
  role       = aws_iam_role.master.name
  policy_arn = aws_iam_policy.master.arn
}

resource "aws_iam_instance_profile" "master" {
  name = "${var.name}-master"
  role = aws_iam_role.master.name
}

# Workers need no rights in AWS. What builds need is attached to this role.
resource "aws_iam_role" "worker" {
  name               = "${var.name}-worker"
  assume_role_policy = local.trust
  tags               = var.tags
}

resource "aws_iam_instance_profile" "worker" {
  name = "${var.name}-worker"
  role = aws_iam_role.worker.name
}

# Whatever a pool does not say: it names this with `launch-template`.
resource "aws_launch_template" "worker" {
  name                   = "${var.name}-worker"
  description            = "Workers of Ganger"
  image_id               = var.image_id
  update_default_version = true
  tags                   = var.tags

  block_device_mappings {
    device_name = var.root_device
    ebs {
      volume_size           = var.volume_size
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }
}

# Notices of the spot market, for each pool that is to hear them here: interruption-queue of its [pool.ec2].
resource "aws_cloudwatch_event_rule" "interruption" {
  for_each    = var.queues
  name        = "${var.name}-${each.key}"
  description = "What EC2 takes back soon"
  tags        = var.tags
  event_pattern = jsonencode({
    source        = ["aws.ec2"]
    "detail-type" = ["EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"]
  })
}

resource "aws_sqs_queue" "interruption" {
  for_each                  = var.queues
  name                      = "${var.name}-${each.key}"
  message_retention_seconds = 300
  tags                      = var.tags
}

resource "aws_sqs_queue_policy" "interruption" {
  for_each  = var.queues
  queue_url = aws_sqs_queue.interruption[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Principal = { Service = "events.amazonaws.com" }
      Resource  = aws_sqs_queue.interruption[each.key].arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.interruption[each.key].arn } }
    }]
  })
}

resource "aws_cloudwatch_event_target" "interruption" {
  for_each = var.queues
  rule     = aws_cloudwatch_event_rule.interruption[each.key].name
  arn      = aws_sqs_queue.interruption[each.key].arn
}
