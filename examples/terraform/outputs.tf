output "pool" {
  description = "The table [pool.ec2] for ganger.toml; a type with its price belongs into it."
  value       = <<-TOML
    [pool.ec2]
    region = ${jsonencode(data.aws_region.here.name)}
    subnet_id = ${jsonencode(local.subnet_ids)}
    security_group_ids = ${jsonencode([aws_security_group.worker.id])}
    instance_profile_name = ${jsonencode(aws_iam_instance_profile.worker.name)}
    launch-template = ${jsonencode(aws_launch_template.worker.id)}
  TOML
}

output "interruption_queues" {
  description = "What interruption-queue of [pool.ec2] is, for each pool of `queues`."
  value       = { for pool, queue in aws_sqs_queue.interruption : pool => queue.url }
}

output "master_instance_profile" {
  description = "For a master on EC2."
  value       = aws_iam_instance_profile.master.name
}

output "master_policy_arn" {
  description = "For a master elsewhere: attach it to who makes its calls."
  value       = aws_iam_policy.master.arn
}

output "master_security_group_id" {
  description = "For a master on EC2."
  value       = aws_security_group.master.id
}
