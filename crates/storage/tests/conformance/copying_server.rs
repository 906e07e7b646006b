//! An S3 server that copies parts as AWS and others do: s3s-fs, with conditions and checksums of
//! copies, and equal parts. It can also do one of these things wrong.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopySource, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETagCondition,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::S3Service;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use crate::s3::service_of;

/// How a server differs from AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// It does not.
    None,
    /// It returns checksums of copies only when it lists them.
    ListedChecksums,
    /// It returns no checksums of copies, but wants those of all parts.
    MissingChecksums,
    /// It copies a wrong byte into the second part.
    WrongByte,
}

struct CopyingServer {
    files: FileSystem,
    folder: PathBuf,
    quirk: Quirk,
    /// The uploads whose parts have checksums.
    checked: Mutex<HashSet<String>>,
}

/// Makes the service of a server that behaves like AWS.
pub(crate) fn like_aws(folder: &Path) -> S3Service {
    service(folder, Quirk::None)
}

/// Makes the service of a server with a quirk.
pub(crate) fn service(folder: &Path, quirk: Quirk) -> S3Service {
    service_of(CopyingServer {
        files: FileSystem::new(folder).unwrap(),
        folder: folder.to_owned(),
        quirk,
        checked: Mutex::default(),
    })
}

impl CopyingServer {
    fn part(&self, upload: &str, number: i32) -> PathBuf {
        self.folder
            .join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Returns the checksum of a part, if the upload was begun with checksums.
    fn checksum(&self, upload: &str, number: i32) -> Option<String> {
        self.checked.lock().unwrap().get(upload)?;
        let bytes = fs_err::read(self.part(upload, number)).unwrap();
        Some(BASE64_STANDARD.encode(crc32fast::hash(&bytes).to_be_bytes()))
    }
}

/// Changes a byte in the middle of a file.
fn change_byte(path: &Path) {
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.read(true).write(true).open(path).unwrap();
    let middle = SeekFrom::Start(file.metadata().unwrap().len() / 2);
    let mut byte = [0];
    file.seek(middle).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(middle).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[async_trait::async_trait]
impl S3 for CopyingServer {
    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let algorithm = request.input.checksum_algorithm.clone();
        let mut response = self.files.create_multipart_upload(request).await?;
        if let (Some(id), Some(_)) = (&response.output.upload_id, &algorithm) {
            self.checked.lock().unwrap().insert(id.clone());
        }
        response.output.checksum_algorithm = algorithm;
        Ok(response)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let checksum = request.input.checksum_crc32.clone();
        let mut response = self.files.upload_part(request).await?;
        response.output.checksum_crc32 = checksum;
        Ok(response)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = &request.input;
        let (upload, number) = (input.upload_id.clone(), input.part_number);
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let source = HeadObjectInput::builder()
            .bucket(bucket.to_string())
            .key(key.to_string())
            .build()
            .unwrap();
        let condition = input.copy_source_if_match.clone();
        let source = S3Request {
            input: source,
            method: request.method.clone(),
            uri: request.uri.clone(),
            headers: request.headers.clone(),
            extensions: Default::default(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        let found = self.files.head_object(source).await?;
        let expected = found.output.e_tag.map(ETagCondition::ETag);
        if condition.is_none() || condition != expected {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut response = self.files.upload_part_copy(request).await?;
        if self.quirk == Quirk::WrongByte && number == 2 {
            change_byte(&self.part(&upload, number));
        }
        if matches!(self.quirk, Quirk::None | Quirk::WrongByte)
            && let Some(result) = &mut response.output.copy_part_result
        {
            result.checksum_crc32 = self.checksum(&upload, number);
        }
        Ok(response)
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        const PAGE: usize = 2;
        let upload = request.input.upload_id.clone();
        let marker = request.input.part_number_marker;
        let mut response = self.files.list_parts(request).await?;
        let output = &mut response.output;
        let parts = output.parts.take().unwrap_or_default();
        // In pages, as AWS does for a thousand.
        let parts = parts
            .into_iter()
            .map(|part| (part.part_number.unwrap(), part));
        let mut parts: BTreeMap<_, _> = parts.collect();
        let first = marker.unwrap_or(0) + 1;
        let mut page: Vec<_> = parts.split_off(&first).into_values().collect();
        output.is_truncated = Some(page.len() > PAGE);
        page.truncate(PAGE);
        for part in &mut page {
            if self.quirk != Quirk::MissingChecksums {
                part.checksum_crc32 = self.checksum(&upload, part.part_number.unwrap());
            }
        }
        let last = page.last().and_then(|part| part.part_number);
        output.next_part_number_marker = last;
        output.parts = Some(page);
        Ok(response)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &request.input;
        let parts = input.multipart_upload.as_ref().unwrap();
        let parts = parts.parts.as_ref().unwrap();
        let size = |number| fs_err::metadata(self.part(&input.upload_id, number)).map(|m| m.len());
        let (last, first) = (parts.last().unwrap(), parts.first().unwrap());
        for part in parts {
            let number = part.part_number.unwrap();
            let wanted = size(first.part_number.unwrap()).unwrap();
            if number != last.part_number.unwrap() && size(number).unwrap() != wanted {
                return Err(s3_error!(
                    InvalidPart,
                    "all parts but the last must be equal"
                ));
            }
            if part.checksum_crc32 != self.checksum(&input.upload_id, number) {
                return Err(s3_error!(
                    InvalidPart,
                    "the checksum of a part is missing or wrong"
                ));
            }
        }
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(request).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.files.put_object(request).await
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }
}
