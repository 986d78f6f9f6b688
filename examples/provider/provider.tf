terraform {
  required_providers {
    ml = {
      source = "mlplane/ml"
    }
  }
}

provider "ml" {
  sagemaker = {
    region             = "eu-west-1"
    execution_role_arn = "arn:aws:iam::123456789012:role/ml-serving"
    staging_uri        = "s3://example-ml-staging/artifacts"
  }
  kubernetes = {
    namespace   = "ml"
    gateway     = { name = "public", namespace = "infra", hostname = "models.example.com" }
    staging_uri = "s3://example-ml-staging/artifacts"
  }
  labels = { team = "risk" }
}
