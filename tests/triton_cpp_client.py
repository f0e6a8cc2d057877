"""As much of NVIDIA's C++ client as the guide's program needs, without a server: it tells what it is asked.

The real one is built from source, with gRPC's. The declarations are those of its ``grpc_client.h`` and ``common.h``.
"""

from __future__ import annotations

HEADER = """
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace triton { namespace client {

struct Error {
    bool IsOk() const { return true; }
};

struct InferOptions {
    explicit InferOptions(const std::string &model) : model_name_(model) {}
    std::string model_name_;
};

struct InferInput {
    static Error Create(InferInput **input, const std::string &name, const std::vector<int64_t> &dims,
                        const std::string &type) {
        *input = new InferInput{name, type, dims, 0};
        return Error();
    }
    Error AppendRaw(const uint8_t *, size_t bytes) {
        bytes_ += bytes;
        return Error();
    }
    std::string name_, type_;
    std::vector<int64_t> dims_;
    size_t bytes_;
};

struct InferResult {
    Error Shape(const std::string &name, std::vector<int64_t> *shape) const {
        std::cerr << ' ' << name;
        *shape = {1, 4, 151};
        return Error();
    }
};

struct InferenceServerGrpcClient {
    static Error Create(std::unique_ptr<InferenceServerGrpcClient> *client, const std::string &url,
                        bool verbose = false) {
        (void)verbose;
        std::cerr << url;
        client->reset(new InferenceServerGrpcClient());
        return Error();
    }
    Error Infer(InferResult **result, const InferOptions &options, const std::vector<InferInput *> &inputs) {
        std::cerr << ' ' << options.model_name_;
        for (const InferInput *input : inputs) {
            std::cerr << ' ' << input->name_ << ' ' << input->type_;
            for (int64_t size : input->dims_) std::cerr << ' ' << size;
            std::cerr << ' ' << input->bytes_;
        }
        *result = new InferResult();
        return Error();
    }
};

}}  // namespace triton::client
"""
"""The text of ``grpc_client.h``."""
