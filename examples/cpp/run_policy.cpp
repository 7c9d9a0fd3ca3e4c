// Runs a policy that `model.export("policy.pt")` has written, without Python.
//
//     run_policy policy.pt 3 < observations.txt                    an observation of shape [3]
//     run_policy policy.pt 84x84x3 < observations.txt              an image
//     run_policy policy.pt camera=84x84x3 speed=2 < observations.txt   a Dict: its keys and their shapes
//
// Reads observations one after the other from the standard input: numbers between white space, all of one observation
// in row-major order, for a Dict key after key in the order of the arguments. Prints an action a line. Shapes, keys and
// bounds stand in the JSON file beside the policy.

#include <torch/script.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Input {
  std::string key;  // empty where the observation is a tensor
  std::vector<int64_t> shape;  // with the batch dimension in front
};

Input parse_input(const std::string& argument) {
  Input input;
  const auto equals = argument.rfind('=');
  if (equals != std::string::npos) {
    input.key = argument.substr(0, equals);
  }
  input.shape.push_back(1);
  std::istringstream sizes(argument.substr(equals == std::string::npos ? 0 : equals + 1));
  for (std::string size; std::getline(sizes, size, 'x');) {
    std::size_t end = 0;
    try {
      input.shape.push_back(std::stoll(size, &end));
    } catch (const std::logic_error&) {  // no number, or too large a one
    }
    if (size.empty() || end != size.size() || input.shape.back() < 1) {
      throw std::runtime_error("'" + argument + "': a shape such as 84x84x3 is needed");
    }
  }
  return input;
}

// Reads one input's numbers. Returns false where the standard input ends before the first one.
bool read_tensor(const Input& input, torch::Tensor& tensor) {
  tensor = torch::empty(input.shape, torch::kFloat32);
  float* values = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    if (!(std::cin >> values[i])) {
      if (i == 0 && std::cin.eof()) {
        return false;
      }
      throw std::runtime_error("the standard input ends within an observation, or holds what is no number");
    }
  }
  return true;
}

// Reads one observation, as the policy takes it. Returns false where there is none left.
bool read_observation(const std::vector<Input>& inputs, torch::IValue& observation) {
  torch::Tensor tensor;
  if (inputs.size() == 1 && inputs[0].key.empty()) {
    const bool found = read_tensor(inputs[0], tensor);
    observation = tensor;
    return found;
  }
  c10::Dict<std::string, torch::Tensor> parts;
  for (const Input& input : inputs) {
    if (!read_tensor(input, tensor)) {
      if (parts.empty()) {
        return false;
      }
      throw std::runtime_error("the standard input ends within an observation");
    }
    parts.insert(input.key, tensor);
  }
  observation = parts;
  return true;
}

void print_action(const torch::Tensor& action) {
  const torch::Tensor flat = action.contiguous().view(-1);
  const float* values = flat.data_ptr<float>();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    std::cout << (i == 0 ? "" : " ") << values[i];
  }
  std::cout << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: run_policy POLICY.pt SHAPE < observations\n"
                 "       run_policy POLICY.pt KEY=SHAPE [KEY=SHAPE ...] < observations\n";
    return 2;
  }
  try {
    std::vector<Input> inputs;
    for (int i = 2; i < argc; ++i) {
      inputs.push_back(parse_input(argv[i]));
    }
    torch::jit::Module policy = torch::jit::load(argv[1]);
    policy.eval();
    const c10::InferenceMode no_gradients;
    std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
    torch::IValue observation;
    while (read_observation(inputs, observation)) {
      print_action(policy.forward({observation}).toTensor());
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
