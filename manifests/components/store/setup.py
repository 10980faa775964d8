"""Create the store's buckets and their access policies. Running it again changes nothing."""

import json
import os
import time
from contextlib import suppress

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def allow(account, actions, *resources):
    """Return a policy's statement: this account may do that with these resources."""
    arns = [f"arn:aws:s3:::{resource}" for resource in resources]
    return {"Effect": "Allow", "Principal": {"AWS": [account]}, "Action": actions, "Resource": arns}


def policies(steps, registry, reader):
    """Return the statements of each bucket; the arguments are access keys."""
    store_bucket, registry_bucket = "continuous-training", "registry"
    return {
        store_bucket: [
            allow(steps, ["s3:*"], store_bucket, f"{store_bucket}/*"),
            # A model server looks an alias up and loads an archive.
            allow(reader, ["s3:ListBucket"], store_bucket),
            allow(reader, ["s3:GetObject"], f"{store_bucket}/archives/*", f"{store_bucket}/aliases/*"),
        ],
        registry_bucket: [allow(registry, ["s3:*"], registry_bucket, f"{registry_bucket}/*")],
    }


def make(client, bucket, statements):
    """Make the bucket where it is missing, and set its policy."""
    already_exists = (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists)
    with suppress(*already_exists):
        client.create_bucket(Bucket=bucket)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    client.put_bucket_policy(Bucket=bucket, Policy=policy)
    print(f"bucket {bucket} is there, its policy set", flush=True)


def main():
    """Set the store up; waits up to five minutes for it to answer."""
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["ROOT_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["ROOT_SECRET_ACCESS_KEY"],
    )
    bucket_policies = policies(os.environ["STEPS"], os.environ["REGISTRY"], os.environ["READER"])
    deadline = time.monotonic() + 300
    while True:
        try:
            for bucket, statements in bucket_policies.items():
                make(client, bucket, statements)
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                raise
            print(f"the store is not ready: {error}", flush=True)
            time.sleep(2)


if __name__ == "__main__":
    main()
