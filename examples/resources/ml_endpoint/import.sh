# By id, platform/location/name, or by the platform's own id.
terraform import ml_endpoint.fraud sagemaker/eu-west-1/fraud
terraform import ml_endpoint.fraud arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud
terraform import ml_endpoint.churn kubernetes/ml/churn
terraform import ml_endpoint.churn ml/churn
