#!/usr/bin/env python3
# Copyright (c) The terraform-provider-ml Authors
# SPDX-License-Identifier: MPL-2.0
"""The life of a model and its endpoint, through boto3.

    life.py URL ARTIFACT

It ends with an error where the emulator behaves otherwise than AWS.
"""
import datetime
import hashlib
import io
import json
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

URL, ARTIFACT = sys.argv[1:]
ROLE = "arn:aws:iam::123456789012:role/serving"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:"
QUICK = {"Delay": 0.05, "MaxAttempts": 200}


def client(name, **options):
    return boto3.client(name, endpoint_url=URL, config=Config(retries={"total_max_attempts": 1}, **options))


s3 = client("s3", s3={"addressing_style": "path"}, signature_version="s3v4")
sm = client("sagemaker")
scaling = client("application-autoscaling")
runtime = client("sagemaker-runtime")
alarms = client("cloudwatch")


def check(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def refused(code, words, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        check(e.response["Error"]["Code"], code)
        if words not in e.response["Error"]["Message"]:
            raise AssertionError("got %r, want ...%s..." % (e.response["Error"]["Message"], words)) from e
    else:
        raise AssertionError("%s was not refused" % arguments)


def objects():
    with open(ARTIFACT, "rb") as f:
        data = f.read()
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.get_waiter("bucket_exists").wait(Bucket="models", WaiterConfig=QUICK)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_file(ARTIFACT, "models", "fraud/model.tar.gz", Config=parts, ExtraArgs={"Metadata": {"run": "7"}})
    head = s3.head_object(Bucket="models", Key="fraud/model.tar.gz")
    check((head["ContentLength"], head["Metadata"], head["ETag"][-3:]), (len(data), {"run": "7"}, '-2"'))
    back = io.BytesIO()
    s3.download_fileobj("models", "fraud/model.tar.gz", back, Config=parts)
    check(hashlib.sha256(back.getvalue()).hexdigest(), hashlib.sha256(data).hexdigest())

    s3.upload_fileobj(io.BytesIO(b"streamed"), "models", "fraud/streamed", ExtraArgs={"ChecksumAlgorithm": "SHA256"})
    stream = s3.get_object(Bucket="models", Key="fraud/streamed", ChecksumMode="ENABLED")
    check(stream["Body"].read(), b"streamed")
    part = s3.get_object(Bucket="models", Key="fraud/streamed", Range="bytes=2-4")
    check((part["Body"].read(), part["ContentRange"]), (b"rea", "bytes 2-4/8"))

    url = s3.generate_presigned_url("put_object", Params={"Bucket": "models", "Key": "fraud/presigned"})
    urllib.request.urlopen(urllib.request.Request(url, data=b"presigned", method="PUT")).close()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "models", "Key": "fraud/presigned"})
    with urllib.request.urlopen(url) as answer:
        check(answer.read(), b"presigned")

    refused("NoSuchKey", "does not exist", s3.get_object, Bucket="models", Key="none")
    refused("404", "", s3.head_object, Bucket="models", Key="none")
    refused("NoSuchBucket", "", s3.list_objects_v2, Bucket="none")
    refused("BucketAlreadyOwnedByYou", "", s3.create_bucket, Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    refused("PreconditionFailed", "", s3.put_object, Bucket="models", Key="fraud/streamed", Body=b"x", IfNoneMatch="*")
    refused("PreconditionFailed", "", s3.get_object, Bucket="models", Key="fraud/streamed", IfMatch='"0"')
    refused("304", "", s3.get_object, Bucket="models", Key="fraud/model.tar.gz", IfNoneMatch=head["ETag"])
    refused("InvalidRange", "", s3.get_object, Bucket="models", Key="fraud/streamed", Range="bytes=100-200")
    refused("BucketNotEmpty", "", s3.delete_bucket, Bucket="models")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix="fraud/", PaginationConfig={"PageSize": 2})
    check([len(page["Contents"]) for page in pages], [2, 1])
    upload = s3.create_multipart_upload(Bucket="models", Key="left")
    s3.abort_multipart_upload(Bucket="models", Key="left", UploadId=upload["UploadId"])
    check(s3.list_multipart_uploads(Bucket="models").get("Uploads", []), [])


def registry():
    sm.create_model_package_group(ModelPackageGroupName="fraud", Tags=[{"Key": "team", "Value": "risk"}])
    refused("ValidationException", "already exists", sm.create_model_package_group, ModelPackageGroupName="fraud")
    refused("ValidationException", "regular expression pattern", sm.create_model_package_group, ModelPackageGroupName="fraud_v2")
    container = {"Image": "serving:1", "ModelDataUrl": "s3://models/fraud/model.tar.gz"}
    version = sm.create_model_package(ModelPackageGroupName="fraud", InferenceSpecification={"Containers": [container]})["ModelPackageArn"]
    check(version, ARN + "model-package/fraud/1")
    described = sm.describe_model_package(ModelPackageName=version)
    check((described["ModelPackageVersion"], described["ModelApprovalStatus"], described["ModelPackageStatus"]), (1, "PendingManualApproval", "Completed"))
    model = {"ModelName": "fraud", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"ModelPackageName": version}}
    refused("ValidationException", "not approved", sm.create_model, **model)
    sm.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Approved", CustomerMetadataProperties={"run": "7"})
    check([p["ModelApprovalStatus"] for p in sm.list_model_packages(ModelPackageGroupName="fraud")["ModelPackageSummaryList"]], ["Approved"])
    sm.create_model(**model)
    refused("ValidationException", "Cannot create already existing model", sm.create_model, **model)
    refused("ConflictException", "still contains", sm.delete_model_package_group, ModelPackageGroupName="fraud")
    refused("ValidationException", "Could not access model data at s3://models/none.tar.gz", sm.create_model, ModelName="none", ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://models/none.tar.gz"})


def variant(name="main", model="fraud", instance="ml.m5.large", count=2, **more):
    return {"VariantName": name, "ModelName": model, "InstanceType": instance, "InitialInstanceCount": count, **more}


def status(want, config):
    e = sm.describe_endpoint(EndpointName="fraud")
    check((e["EndpointStatus"], e["EndpointConfigName"]), (want, config))
    return e


def serving():
    check(runtime.invoke_endpoint(EndpointName="fraud", Body=b"{}", ContentType="application/json")["InvokedProductionVariant"], "main")


def endpoint():
    for name in ("one", "two", "three"):
        sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant()])
    create = sm.create_endpoint_config
    refused("ValidationException", "Cannot create already existing endpoint configuration", create, EndpointConfigName="one", ProductionVariants=[variant()])
    refused("ValidationException", "Could not find model", create, EndpointConfigName="x", ProductionVariants=[variant(model="none")])
    refused("ValidationException", "enum value set", create, EndpointConfigName="x", ProductionVariants=[variant(instance="ml.m7g.large")])
    refused("ValidationException", "VolumeSize parameter is not allowed", create, EndpointConfigName="x", ProductionVariants=[variant(instance="ml.g5.xlarge", VolumeSizeInGB=9)])
    refused("ValidationException", "Could not find endpoint configuration", sm.create_endpoint, EndpointName="fraud", EndpointConfigName="none")
    pages = list(sm.get_paginator("list_endpoint_configs").paginate(PaginationConfig={"PageSize": 2}))
    check([len(page["EndpointConfigs"]) for page in pages], [2, 1])

    sm.create_endpoint(EndpointName="fraud", EndpointConfigName="one")
    status("Creating", "one")
    refused("ValidationException", "Cannot update in-progress endpoint", sm.delete_endpoint, EndpointName="fraud")
    refused("ValidationError", "not found", runtime.invoke_endpoint, EndpointName="fraud", Body=b"{}")
    sm.get_waiter("endpoint_in_service").wait(EndpointName="fraud", WaiterConfig=QUICK)
    status("InService", "one")
    answer = json.load(runtime.invoke_endpoint(EndpointName="fraud", Body=b'{"x": 1}', ContentType="application/json")["Body"])
    check((answer["model"], answer["version"], answer["echo"]), ("fraud", "1", {"x": 1}))
    events = runtime.invoke_endpoint_with_response_stream(EndpointName="fraud", Body=b"{}")["Body"]
    check(json.loads(b"".join(e["PayloadPart"]["Bytes"] for e in events))["model"], "fraud")


def slow(guarded):
    """A new fleet whose answers take longer than an alarm allows is taken back, by its answers alone."""
    of = [{"Name": "EndpointName", "Value": "fraud"}, {"Name": "VariantName", "Value": "main"}, {"Name": "EndpointConfigName", "Value": "two"}]
    alarms.put_metric_alarm(AlarmName="slow", Namespace="AWS/SageMaker", MetricName="ModelLatency", ExtendedStatistic="p95", Period=60, EvaluationPeriods=1,
                            Threshold=1000.0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching", Dimensions=of)
    guarded["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": "slow"}]}
    began = datetime.datetime.now(datetime.timezone.utc)
    sm.update_endpoint(EndpointName="fraud", EndpointConfigName="two", DeploymentConfig=guarded)
    while sm.describe_endpoint(EndpointName="fraud")["EndpointStatus"] == "Updating":
        runtime.invoke_endpoint(EndpointName="fraud", Body=b"{}")
    check("slow" in status("InService", "one")["FailureReason"], True)
    newest = alarms.describe_alarm_history(AlarmName="slow", HistoryItemType="StateUpdate", StartDate=began, ScanBy="TimestampAscending")["AlarmHistoryItems"]
    check("to ALARM" in "".join(i["HistorySummary"] for i in newest), True)
    stat = {"Metric": {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": of}, "Period": 3600, "Stat": "p95"}
    data = alarms.get_metric_data(MetricDataQueries=[{"Id": "p", "MetricStat": stat}], StartTime=began, EndTime=began + datetime.timedelta(hours=1))
    check(data["MetricDataResults"][0]["Values"], [8000.0])
    alarms.delete_alarms(AlarmNames=["slow"])


def change():
    alarms.put_metric_alarm(AlarmName="errors", Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum", Period=60,
                            EvaluationPeriods=1, Threshold=0.5, ComparisonOperator="GreaterThanThreshold")
    found = alarms.describe_alarms(AlarmNames=["errors"])["MetricAlarms"][0]
    check((found["Period"], found["Threshold"], found["StateValue"]), (60, 0.5, "INSUFFICIENT_DATA"))
    guarded = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": 3600,
                                                                         "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}}},
               "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
    sm.update_endpoint(EndpointName="fraud", EndpointConfigName="two", DeploymentConfig=guarded)
    status("Updating", "one")
    serving()
    alarms.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="test")
    sm.get_waiter("endpoint_in_service").wait(EndpointName="fraud", WaiterConfig=QUICK)
    check("errors" in status("InService", "one")["FailureReason"], True)
    slow(guarded)

    sm.update_endpoint(EndpointName="fraud", EndpointConfigName="two")
    sm.get_waiter("endpoint_in_service").wait(EndpointName="fraud", WaiterConfig=QUICK)
    status("InService", "two")
    sm.update_endpoint_weights_and_capacities(EndpointName="fraud", DesiredWeightsAndCapacities=[{"VariantName": "main", "DesiredInstanceCount": 3}])
    sm.get_waiter("endpoint_in_service").wait(EndpointName="fraud", WaiterConfig=QUICK)
    check(status("InService", "two")["ProductionVariants"][0]["CurrentInstanceCount"], 3)
    serving()


def autoscaling():
    target = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/fraud/variant/main", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    refused("ObjectNotFoundException", "No scalable target", scaling.deregister_scalable_target, **target)
    missing = {**target, "ResourceId": "endpoint/fraud/variant/none", "MinCapacity": 1, "MaxCapacity": 2}
    refused("ValidationException", "not found", scaling.register_scalable_target, **missing)
    scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=4)
    scaling.put_scaling_policy(**target, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration={
        "TargetValue": 70.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}})
    scaling.put_scheduled_action(**target, ScheduledActionName="day", Schedule="cron(0 8 ? * MON-FRI *)", Timezone="Europe/Berlin",
                                 ScalableTargetAction={"MinCapacity": 3})
    check(scaling.describe_scaling_policies(**target)["ScalingPolicies"][0]["PolicyName"], "p")
    check(scaling.describe_scheduled_actions(**target)["ScheduledActions"][0]["ScalableTargetAction"], {"MinCapacity": 3})
    scaling.deregister_scalable_target(**target)
    check(scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"], [])


def removal():
    arn = ARN + "endpoint/fraud"
    sm.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    check(sm.list_tags(ResourceArn=arn)["Tags"], [{"Key": "a", "Value": "b"}])
    refused("ValidationException", "reserved", sm.add_tags, ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": "b"}])
    sm.delete_endpoint_config(EndpointConfigName="two")  # in use, and deleted all the same
    refused("ValidationException", "Could not find endpoint configuration", sm.update_endpoint, EndpointName="fraud", EndpointConfigName="three")
    sm.delete_endpoint(EndpointName="fraud")
    sm.get_waiter("endpoint_deleted").wait(EndpointName="fraud", WaiterConfig=QUICK)
    refused("ValidationException", "Could not find endpoint \"", sm.describe_endpoint, EndpointName="fraud")
    for name in ("one", "three"):
        sm.delete_endpoint_config(EndpointConfigName=name)
    sm.delete_model(ModelName="fraud")
    sm.delete_model_package(ModelPackageName=ARN + "model-package/fraud/1")
    sm.delete_model_package_group(ModelPackageGroupName="fraud")
    refused("ValidationException", "does not exist.", sm.describe_model_package_group, ModelPackageGroupName="fraud")
    keys = [{"Key": o["Key"]} for o in s3.list_objects_v2(Bucket="models")["Contents"]]
    s3.delete_objects(Bucket="models", Delete={"Objects": keys})
    s3.delete_bucket(Bucket="models")
    check(s3.list_buckets()["Buckets"], [])


check(client("sts").get_caller_identity()["Account"], "123456789012")
for step in (objects, registry, endpoint, change, autoscaling, removal):
    step()
