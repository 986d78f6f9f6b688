resource "ml_model" "fraud" {
  platform = "sagemaker"
  name     = "fraud"

  artifact = {
    uri    = "models/fraud.onnx"
    format = "onnx"
  }
}

# One deployment that scales by itself. A new version takes over in place.
resource "ml_endpoint" "fraud" {
  platform = "sagemaker"
  name     = "fraud"

  deployments = {
    main = {
      model   = ml_model.fraud.version_id
      compute = { cpu = 4, memory_gib = 16 } # or an exact instance_type
      scaling = {
        min     = 2
        max     = 8
        metrics = [{ type = "requests_per_replica", target = 600 }]
        schedules = [
          { name = "night", cron = "0 22 * * *", timezone = "Europe/Dublin", min = 1, max = 2 },
          { name = "day", cron = "0 6 * * *", timezone = "Europe/Dublin", min = 2, max = 8 },
        ]
      }
    }
  }

  rollout = {
    strategy = "canary"
    steps    = [10]
    interval = "5m"
    checks   = { alarms = ["fraud-5xx"] }
  }

  capture = {
    percent     = 5
    destination = "s3://example-ml-capture/fraud"
  }
}

resource "ml_model" "vision" {
  platform = "sagemaker"
  name     = "vision"

  artifact = {
    uri    = "models/vision.onnx"
    format = "onnx"
  }
  serving = { runtime = "triton" }
}

# Two kinds of GPU share the requests, out of the public's reach.
resource "ml_endpoint" "vision" {
  platform = "sagemaker"
  name     = "vision"

  deployments = {
    proven = {
      model   = ml_model.vision.version_id
      traffic = 90
      compute = { instance_type = "ml.g5.xlarge" }
    }
    trial = {
      model   = ml_model.vision.version_id
      traffic = 10
      compute = { memory_gib = 16, accelerator = { type = "nvidia-l4" } }
    }
  }

  network = {
    access          = "private"
    subnets         = ["subnet-0a1b2c3d4e5f60718"]
    security_groups = ["sg-0a1b2c3d4e5f60718"]
  }
}

resource "ml_model" "churn" {
  platform = "kubernetes"
  name     = "churn"
  location = "ml" # the namespace

  artifact = {
    uri    = "models/churn.onnx"
    format = "onnx"
  }
}

# In a cluster, behind the provider's gateway: one service account may call it.
resource "ml_endpoint" "churn" {
  platform = "kubernetes"
  name     = "churn"
  location = "ml"

  deployments = {
    main = {
      model   = ml_model.churn.version_id
      compute = { cpu = 2, memory_gib = 4 }
      scaling = {
        min     = 2
        max     = 8
        metrics = [{ type = "cpu", target = 60 }]
      }
    }
  }

  auth            = { invokers = ["system:serviceaccount:web:checkout"] }
  request_timeout = "10s"

  smoke_test = {
    request = jsonencode({ inputs = [{ name = "features", shape = [1, 4], datatype = "FP32", data = [412.5, 3, 0.82, 1] }] })
    expect  = { json = { "$.outputs[0].name" = "score" } }
  }

  kubernetes = {
    node_selector = { pool = "inference" }
    tolerations   = [{ key = "inference", operator = "Exists", effect = "NoSchedule" }]
  }
}
